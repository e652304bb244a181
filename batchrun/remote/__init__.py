"""A run that is kept in object storage: worked on in a local copy, which is uploaded as it grows.

lease.py      who may write to the run: taken and renewed by conditional writes, and it runs out
manifest.py   which objects make up the run: replaced by one conditional write, always last
shipping.py   from the local copy to the bucket
fetching.py   from the bucket to a local copy
leased_run.py a run taken, fetched, kept and given back
work.py       the same around the work of one verb, with what a lost machine took
losses.py     what was lost with a machine, as its successor knows it
copies.py     where local copies lie, and what is known of them
reading.py    a run for those who only read it
"""
