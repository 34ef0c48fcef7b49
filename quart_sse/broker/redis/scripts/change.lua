-- Publish the change of a fragment.
-- KEYS: as in the prelude, then fragments, tip
-- ARGV: as in the prelude, then pub/sub channel, kind, payload, how long the change is remembered
--       (ms), the fragment, the item of it ("": all of it)
-- Returns: epoch, id
return {change(KEYS[4], KEYS[5], unpack(ARGV, 5, 10))}
