"""Networks: architecture, the shared decoder, weight loading, families and tokenizers."""
