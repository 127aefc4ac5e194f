"""Files that others write and we read: regular, bounded, whole, and as they are now."""
