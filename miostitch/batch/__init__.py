"""Many sessions at a time: finds them in folders, describes each in a file, and runs them all.

``files`` looks at what lies in a tree and pairs videos with tables, ``discovery`` makes receivers
and sessions of them, ``proposal`` writes them as session files; ``session`` stitches or works
through one session file, ``processes`` does that in a process of its own, ``run`` goes through all,
and ``page`` shows what became of them. Other rooms use ``proposal``, ``session``, ``processes`` and
``run.run_batch``.
"""
