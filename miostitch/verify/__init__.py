"""Whether results are intact, complete, and really made of their recordings.

`run` is what the command calls. What the ordinary code would write again of the same inputs is
compared with what is there: `store` looks at the files and the layout of a store, `products` at the
other files; `inputs` finds what a stitch was made of, `stitched` compares its frames, tables and
summary, `edits` those of a result of editing, both with `tables`. All of them note `findings`.
"""
