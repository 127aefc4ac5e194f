"""What the engine is asked, and the one shape of answer that counts."""
