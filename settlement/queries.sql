-- The SQL of settlement. What writes comes first (settlement/store.py), then what reads (settlement/reads.py).

-- name: read_cursor
SELECT sequence, epoch, chain FROM settlement_cursor

-- name: take_cursor
-- Waits for whoever moves the cursor: a COMMIT that a killed run, or a broken connection, left under way.
SELECT sequence, epoch, chain FROM settlement_cursor FOR UPDATE

-- name: move_cursor
-- Compare-and-set, and the batch's row in the same statement: "INSERT 0 1" or somebody else has been here (law 8).
WITH moved AS (
    UPDATE settlement_cursor SET sequence = $4, epoch = $5, chain = $6
    WHERE sequence = $1 AND epoch = $2 AND chain = $3
    RETURNING sequence, epoch, chain
)
INSERT INTO batch (sequence, events, epoch, chain) SELECT sequence, $7, epoch, chain FROM moved

-- name: open_money_accounts
INSERT INTO money_balance (account) SELECT unnest($1::bigint[])

-- name: open_goods_accounts
INSERT INTO goods_balance (account) SELECT unnest($1::bigint[])

-- name: move_money_balances
UPDATE money_balance SET amount_fen = money_balance.amount_fen + delta.amount
FROM unnest($1::bigint[], $2::bigint[]) AS delta (account, amount)
WHERE money_balance.account = delta.account

-- name: move_goods_balances
UPDATE goods_balance SET quantity_kg = goods_balance.quantity_kg + delta.amount
FROM unnest($1::bigint[], $2::bigint[]) AS delta (account, amount)
WHERE goods_balance.account = delta.account

-- name: answer_outbox
UPDATE outbox SET state = answer.state, reason = answer.reason, sequence = answer.sequence
FROM unnest($1::bigint[], $2::smallint[], $3::smallint[], $4::bigint[]) AS answer (number, state, reason, sequence)
WHERE outbox.number = answer.number AND outbox.state = 0

-- name: refuse_members
UPDATE member SET refused = true WHERE outbox = ANY ($1::bigint[])

-- name: refuse_lots
UPDATE lot SET refused = true WHERE outbox = ANY ($1::bigint[])

-- name: refuse_busts
UPDATE bust SET state = 3 WHERE outbox = ANY ($1::bigint[])

-- name: bust_contracts
-- Proposal and contract in one statement; the command tag counts contracts that a proposal led here.
WITH reversed AS (
    UPDATE bust SET state = 2, first_entry = done.entry
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS done (contract, outbox, entry)
    WHERE bust.outbox = done.outbox AND bust.contract = done.contract AND bust.state = 1
    RETURNING bust.contract
)
UPDATE contract SET state = $5 FROM reversed WHERE contract.contract = reversed.contract AND contract.state = $4

-- name: find_bust
-- The proposal that waits, or was carried out; none where the engine refused it or it was dropped.
SELECT proposal, contract, state, proposer, reason, coalesce(decider, '') AS decider, outbox
FROM bust WHERE contract = $1 AND state < 3

-- name: next_bust
SELECT coalesce(max(proposal), 0) + 1 FROM bust

-- name: add_bust
INSERT INTO bust (proposal, contract, proposer, reason) VALUES ($1, $2, $3, $4)

-- name: decide_bust
UPDATE bust SET state = $2, decider = $3, outbox = $4, decided_at = now() WHERE proposal = $1 AND state = 0

-- name: busts
SELECT proposal, contract, state, proposer, reason, coalesce(decider, '') AS decider
FROM bust WHERE proposal > $1 ORDER BY proposal LIMIT $2

-- name: next_outbox_number
UPDATE outbox_counter SET number = number + 1 RETURNING number

-- name: last_outbox_number
SELECT number FROM outbox_counter FOR UPDATE

-- name: add_outbox
INSERT INTO outbox (number, command) VALUES ($1, $2)

-- name: next_member
SELECT coalesce(max(member), 0) + 1 FROM member

-- name: next_lot
SELECT coalesce(max(lot), 0) + 1 FROM lot

-- name: add_member
INSERT INTO member (member, code, name, group_of, outbox) VALUES ($1, $2, $3, $4, $5)

-- name: add_key
INSERT INTO member_key (public_key, member, scopes) VALUES ($1, $2, $3)

-- name: add_lot
INSERT INTO lot (lot, member, receipt, instrument, warehouse, units, quantity_kg, heat, piece, production_date,
                 quality, certificate_sha256, remark, outbox)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)

-- name: add_bank_order
INSERT INTO bank_order (reference, member, amount_fen, outbox) VALUES ($1, $2, $3, $4)

-- name: find_member
SELECT member FROM member WHERE member = $1 AND NOT refused

-- name: find_member_by_code
SELECT member, name, group_of, outbox FROM member WHERE code = $1 AND NOT refused

-- name: find_keys
SELECT public_key, member, scopes FROM member_key WHERE public_key = ANY ($1::text[])

-- name: keys_of_member
SELECT public_key, scopes FROM member_key WHERE member = $1 ORDER BY public_key

-- name: find_lot_by_receipt
SELECT lot, member, receipt, instrument, warehouse, units, quantity_kg, heat, piece, production_date, quality,
       certificate_sha256, remark, outbox
FROM lot WHERE receipt = $1 AND NOT refused

-- name: find_lot_by_piece
SELECT lot FROM lot WHERE heat = $1 AND piece = $2 AND heat <> '' AND piece <> '' AND NOT refused

-- name: find_bank_order
SELECT member, amount_fen, outbox FROM bank_order WHERE reference = $1

-- name: outbox_waiting
SELECT number, command FROM outbox WHERE state = 0 AND number > $1 ORDER BY number LIMIT $2

-- name: outbox_answer
SELECT number, state, reason, sequence FROM outbox WHERE number = $1 AND state <> 0

-- name: contracts_of_everybody
SELECT contract, instrument, buyer, seller, lot, price_fen_per_tonne, quantity_kg, amount_fen, state, traded_ns
FROM contract WHERE contract > $1 ORDER BY contract LIMIT $2

-- name: contracts_of_member
SELECT contract, instrument, buyer, seller, lot, price_fen_per_tonne, quantity_kg, amount_fen, state, traded_ns
FROM (
    (SELECT * FROM contract WHERE buyer = $3 AND contract > $1 ORDER BY contract LIMIT $2)
    UNION
    (SELECT * FROM contract WHERE seller = $3 AND contract > $1 ORDER BY contract LIMIT $2)
) AS either ORDER BY contract LIMIT $2

-- name: entries_of_contract
-- The entries of the fill, and of its bust, lie together behind their first numbers, so the key alone finds them.
WITH origin AS (
    SELECT fill AS first FROM contract WHERE contract = $1
    UNION ALL
    SELECT first_entry FROM bust WHERE contract = $1 AND state = 2
)
SELECT entry, posting, 'fen' AS unit, debit, credit, amount_fen AS amount
FROM origin JOIN money_entry ON entry BETWEEN first AND first + 15
UNION ALL
SELECT entry, posting, 'kg', debit, credit, quantity_kg
FROM origin JOIN goods_entry ON entry BETWEEN first AND first + 15
ORDER BY 3, 1

-- name: entries_of_accounts
SELECT entry, posting, 'fen' AS unit, debit, credit, amount_fen AS amount, contract
FROM money_entry WHERE debit = ANY ($1::bigint[]) OR credit = ANY ($1::bigint[]) ORDER BY entry DESC LIMIT $2

-- name: contract_terms
SELECT * FROM contract WHERE contract = $1

-- name: transitions_of_contract
SELECT state, attempt, entered_ns FROM contract_transition WHERE contract = $1 ORDER BY state, attempt

-- name: members
SELECT member.member, code, name, group_of, coalesce(
           (SELECT jsonb_agg(jsonb_build_array(public_key, scopes) ORDER BY public_key)
            FROM member_key WHERE member_key.member = member.member), '[]')::text AS keys
FROM member JOIN outbox ON outbox.number = member.outbox
WHERE outbox.state = 1 AND ($1::bigint[] IS NULL OR member.outbox = ANY ($1)) ORDER BY member.member

-- name: lots
SELECT lot.lot, member, receipt, instrument, warehouse, units, quantity_kg
FROM lot JOIN outbox ON outbox.number = lot.outbox
WHERE outbox.state = 1 AND ($1::bigint[] IS NULL OR lot.outbox = ANY ($1)) ORDER BY lot.lot

-- name: member_codes
SELECT member, code FROM member WHERE NOT refused ORDER BY member

-- name: trial_balance
SELECT account & 255 AS kind, sum(debit)::bigint AS debit, sum(credit)::bigint AS credit
FROM (
    SELECT debit AS account, amount_fen AS debit, 0 AS credit FROM money_entry
    UNION ALL
    SELECT credit, 0, amount_fen FROM money_entry
) AS sides GROUP BY kind ORDER BY kind

-- name: money_accounts
-- Per account: kept balance, sum of all entries, sum of the entries before $1.
SELECT account, coalesce(kept.amount_fen, 0) AS kept, coalesce(whole, 0)::bigint AS whole,
       coalesce(part, 0)::bigint AS part
FROM money_balance AS kept FULL JOIN (
    SELECT account, sum(amount) AS whole, sum(amount) FILTER (WHERE entry < $1) AS part
    FROM (
        SELECT credit AS account, amount_fen AS amount, entry FROM money_entry
        UNION ALL
        SELECT debit, -amount_fen, entry FROM money_entry
    ) AS sides GROUP BY account
) AS summed USING (account) ORDER BY account

-- name: goods_accounts
-- Per account: kept balance, sum of all entries, of those before $1, of those before $2.
SELECT account, coalesce(kept.quantity_kg, 0) AS kept, coalesce(whole, 0)::bigint AS whole,
       coalesce(part, 0)::bigint AS part, coalesce(part_2, 0)::bigint AS part_2
FROM goods_balance AS kept FULL JOIN (
    SELECT account, sum(amount) AS whole, sum(amount) FILTER (WHERE entry < $1) AS part,
           sum(amount) FILTER (WHERE entry < $2) AS part_2
    FROM (
        SELECT credit AS account, quantity_kg AS amount, entry FROM goods_entry
        UNION ALL
        SELECT debit, -quantity_kg, entry FROM goods_entry
    ) AS sides GROUP BY account
) AS summed USING (account) ORDER BY account

-- name: count_contracts
SELECT count(*) FROM contract

-- name: registered_lots
SELECT lot.lot, quantity_kg FROM lot JOIN outbox ON outbox.number = lot.outbox WHERE outbox.state = 1 ORDER BY lot.lot

-- name: taken_back
-- What owners took back of each lot (G4): it went to RECEIPT again.
SELECT debit >> 8 AS lot, sum(quantity_kg)::bigint AS quantity_kg FROM goods_entry WHERE posting = 104 GROUP BY 1

-- name: escrow_due
-- What the contracts say should stand in each buyer's ESCROW (paid, state 4) and in DEPOSIT (before that). What was
-- busted (state 32) has neither.
SELECT buyer AS member,
       coalesce(sum(amount_fen) FILTER (WHERE state = 4), 0)::bigint AS escrow_fen,
       coalesce(sum(buyer_deposit_fen) FILTER (WHERE state < 4), 0)::bigint AS deposit_fen
FROM contract GROUP BY buyer ORDER BY buyer

-- name: seller_deposit_due
SELECT seller AS member, coalesce(sum(seller_deposit_fen) FILTER (WHERE state <> 32), 0)::bigint AS deposit_fen
FROM contract GROUP BY seller ORDER BY seller

-- name: bought_is_sold
-- Contracts whose goods entry is missing, doubled or of another weight, and goods entries of no contract. What was
-- busted (state 32) gave as much back (P14).
SELECT coalesce(contract.contract, moved.contract) AS contract, coalesce(contract.quantity_kg, 0) AS bought,
       coalesce(moved.kg, 0)::bigint AS sold, coalesce(moved.back, 0)::bigint AS returned
FROM contract FULL JOIN (
    SELECT contract, sum(quantity_kg) FILTER (WHERE posting = 2) AS kg,
           coalesce(sum(quantity_kg) FILTER (WHERE posting = 14), 0) AS back
    FROM goods_entry WHERE posting IN (2, 14) GROUP BY contract
) AS moved USING (contract)
WHERE contract.quantity_kg IS DISTINCT FROM moved.kg
   OR moved.back <> CASE WHEN state = 32 THEN contract.quantity_kg ELSE 0 END
ORDER BY 1 LIMIT 20

-- name: states_without_posting
-- Contracts whose entries do not add up to their terms (P2: deposits and fees; P3: the amount; of a bust, state 32,
-- P14: the amount and the seller's deposit; R2: the fees), and the reverse.
SELECT coalesce(contract.contract, moved.contract) AS contract,
       coalesce(buyer_deposit_fen + seller_deposit_fen + buyer_fee_fen + seller_fee_fen
                + CASE WHEN state >= 4 THEN amount_fen ELSE 0 END, 0)::bigint AS due_fen,
       coalesce(p2 + p3, 0)::bigint AS posted_fen, coalesce(p14 + r2, 0)::bigint AS returned_fen
FROM contract FULL JOIN (
    SELECT contract, coalesce(sum(amount_fen) FILTER (WHERE posting = 2), 0) AS p2,
           coalesce(sum(amount_fen) FILTER (WHERE posting = 3), 0) AS p3,
           coalesce(sum(amount_fen) FILTER (WHERE posting = 14), 0) AS p14,
           coalesce(sum(amount_fen) FILTER (WHERE posting = 202), 0) AS r2
    FROM money_entry WHERE contract <> 0 GROUP BY contract
) AS moved USING (contract)
WHERE contract.contract IS NULL OR moved.contract IS NULL
   OR p2 <> buyer_deposit_fen + seller_deposit_fen + buyer_fee_fen + seller_fee_fen
   OR p3 <> CASE WHEN state >= 4 THEN amount_fen ELSE 0 END
   OR p14 <> CASE WHEN state = 32 THEN amount_fen + seller_deposit_fen ELSE 0 END
   OR r2 <> CASE WHEN state = 32 THEN buyer_fee_fen + seller_fee_fen ELSE 0 END
ORDER BY 1 LIMIT 20

-- name: states_without_transition
-- Contracts that have not entered exactly the states up to the one they are in: the path $1 of a fill, which ends in
-- $2, or that and BUSTED, $3.
SELECT coalesce(contract.contract, entered.contract) AS contract, state, entered.states::text AS states
FROM contract FULL JOIN (
    SELECT contract, array_agg(state ORDER BY state) AS states FROM contract_transition GROUP BY contract
) AS entered USING (contract)
WHERE (entered.states IS DISTINCT FROM $1::smallint[] OR state IS DISTINCT FROM $2)
  AND (entered.states IS DISTINCT FROM $1::smallint[] || $3::smallint OR state IS DISTINCT FROM $3::smallint)
ORDER BY 1 LIMIT 20
