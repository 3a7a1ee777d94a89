# A container keeps its host name when it is started again: the lasting name of a static member of the group.
export COUNTERSIGN_INSTANCE="${COUNTERSIGN_INSTANCE:-worker-$(hostname)}"
exec python -m streams worker
