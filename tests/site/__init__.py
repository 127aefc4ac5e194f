"""The documentation as a site: built once without a warning, then looked at as files and in a real Chromium."""
