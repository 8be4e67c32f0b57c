"""Many sessions at a time: finds them in folders, describes each in a file, and runs them all.

``files`` looks at what lies in a tree and pairs videos with tables, ``discovery`` makes receivers
and sessions of them, ``proposal`` writes them as session files; ``run`` stitches or works through
each session file, and ``page`` shows what became of all. Other rooms use ``proposal.propose`` and
``run.run_batch``.
"""
