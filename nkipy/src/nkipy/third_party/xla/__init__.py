"""The messages of XLA that nkipy writes (``xla_data_pb2``, generated at build)."""
