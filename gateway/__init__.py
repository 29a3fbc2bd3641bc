"""The edge: members' WebSocket and HTTP sessions in, commands to the engine, reports and market data out."""
