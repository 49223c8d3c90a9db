"""What plugin authors test with: a toy network, conformance checks, generators, golden traces."""
