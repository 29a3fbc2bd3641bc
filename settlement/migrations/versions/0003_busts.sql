-- Busts (semantics E8): who proposed, who decided, and where the reversing entries begin (settlement/busts.py).

CREATE TABLE bust (
    proposal    bigint      NOT NULL PRIMARY KEY,                  -- 1, 2, 3 ...
    contract    bigint      NOT NULL,                              -- contract.contract, which is never deleted
    state       smallint    NOT NULL DEFAULT 0,                    -- busts.BustState
    proposer    text        NOT NULL REFERENCES member_key,
    reason      text        NOT NULL,
    proposed_at timestamptz NOT NULL DEFAULT now(),
    decider     text        REFERENCES member_key CHECK (state = 4 OR decider <> proposer),  -- two persons
    decided_at  timestamptz,
    outbox      bigint      UNIQUE REFERENCES outbox,
    first_entry bigint      NOT NULL DEFAULT 0,                    -- the bust's entries: this to this + 15
    CHECK ((state IN (1, 2, 3)) = (outbox IS NOT NULL)),
    CHECK ((state = 0) = (decider IS NULL))
);
-- One proposal at a time; a new one is possible when the engine refused it (3) or it was dropped (4).
CREATE UNIQUE INDEX bust_of_contract ON bust (contract) WHERE state < 3;

CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON bust FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
