"""Whether results are intact, complete, and really made of their recordings.

`run` is what the command calls. What the ordinary code would write again of the same inputs is
compared with what is there: `store` looks at the files and the layout of a store, `inputs` finds
and opens what a result was made of, `frames` compares every frame, `tables` every table, `edits`
does both for results of editing. All of them note `findings`.
"""
