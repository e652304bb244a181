"""What batchrun is timed against, each a process: `python -m tests.benchmarks.peers.NAME TASK REPORT`.

Those of other people's libraries run in an environment of their own, with nothing of ours but this folder:
it imports the standard library and the library that is timed.
"""
