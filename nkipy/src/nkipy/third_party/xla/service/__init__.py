"""HLO module messages (``hlo_pb2``, ``metrics_pb2``, generated at build)."""
