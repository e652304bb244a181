"""Many workers on one run: the driver keeps what there is one of, the workers do what takes time.

The driver holds the journal, the limits, the budget and the counts, as for a run on one machine. A worker
reads its ranges of the input, renders, asks and reads answers, with the local engine's own loop; for each
call it asks the driver for a permit, and tells it every record. So nothing that was recorded is on a worker.

messages.py    what passes between the two
crew.py        the driver's side: ranges handed out, records journalled, lost workers made up for
permits.py     permits granted to workers' calls, and held
shards.py      the rows as ranges
leased.py      what stands in a worker for admission and journal
worker.py      the worker's side: the loop
reading.py     a range of the input to tasks, on the worker
link.py        how the driver reaches a worker, whatever carries it
ray_links.py   Ray's actors as such links
"""
