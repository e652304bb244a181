"""What batchrun costs: `uv run python -m tests.benchmarks [speed|startup|scale] …`.

Each benchmark is a module here with `main(arguments: Sequence[str]) -> int`: the words after its name, the
exit code. It times whole processes from outside and prints ratios from within one run, because absolute
figures say more of the machine.
"""
