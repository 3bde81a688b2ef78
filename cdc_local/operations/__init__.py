"""Work on what an update made: prove, replay, repair, erase, and the demo.

May import every room but `cli` and `workspace`. Begin at the file named after the command.
"""
