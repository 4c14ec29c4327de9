"""What a server tells those who run it: logs, metrics, traces."""
