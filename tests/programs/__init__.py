"""The programs in `programs/`: what they measure and print, and how they end."""
