"""Members to train → trained members, in parallel.

Enters: a function that trains one member, and the members. Leaves: what the function returns for each, from processes
of this machine or the workers of a Dask cluster, with progress and within a time limit.
"""
