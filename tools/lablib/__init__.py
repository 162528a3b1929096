"""The lab: network namespaces in which a primary is killed and a replica takes over."""
