"""Output folders as RO-Crates: a standard file that says what the results are and where from.

Other rooms use ``run.publish_result`` and ``description.describe_results``.
"""
