"""torch.compile(backend="nkipy"): models of torch, compiled for a core."""
