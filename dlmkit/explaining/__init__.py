"""What a pipeline does and promises, in words: read off the declarations of its parts."""
