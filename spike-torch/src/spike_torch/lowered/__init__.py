"""Calls of torch's operators as HLO: by the records of :mod:`spike_torch.aten`."""
