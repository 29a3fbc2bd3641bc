"""The matching engine: commands are numbered, made durable, applied, and their events released."""
