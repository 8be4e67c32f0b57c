"""The command line: every command parses, makes one call of the library and prints.

``main`` lists the commands; they stand in ``stitch_commands`` (make recordings), ``edit_commands``
(change them) and ``look_commands`` (look at them, check them, carry them on), with the ``options``
that they share. ``console`` is how they talk, ``exit_codes`` how they fail, ``texts`` and
``verify_texts`` what people read of results.
"""
