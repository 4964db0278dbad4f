"""CoMEL: bags of instances, task after task (Lee et al., ICCV 2025)."""
