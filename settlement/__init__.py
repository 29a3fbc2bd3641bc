"""After the trade: contracts, the ledger and everything else that PostgreSQL keeps."""
