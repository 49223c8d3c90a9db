"""What happened in a decode and what it cost: records, results, ledgers, traces."""
