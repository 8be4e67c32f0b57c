"""What a run will meet, without running it.

``recordings`` describes recordings one by one and what they are to each other; ``machine`` what
this machine and a folder give a run.
"""
