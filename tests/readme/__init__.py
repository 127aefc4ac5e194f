"""README.md as a newcomer uses it: its commands as pasted, in an empty home (`make readme-test`)."""
