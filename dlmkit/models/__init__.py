"""Networks: architecture description, the shared decoder, weight loading, families and tokenizers."""
