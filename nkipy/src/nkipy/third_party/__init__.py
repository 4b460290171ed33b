"""Interfaces of other projects: XLA's HLO messages, generated from our .proto files."""
