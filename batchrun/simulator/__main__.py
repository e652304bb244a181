"""`python -m batchrun.simulator`: the process that start_process starts."""

from batchrun.simulator.process import main

main()
