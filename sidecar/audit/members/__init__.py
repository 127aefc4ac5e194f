"""What the lines of the audit log say, by subject: values in, the members of a JSON object out.

Every name from outside is capped and escaped here, and no argument value comes here. `docs/audit.schema.json` has the
same members with their meaning.
"""
