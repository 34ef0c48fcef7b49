-- Give the change of a fragment its id, note it as the fragment's last, and publish it.
-- KEYS: as in the prelude, then fragments, tip
-- ARGV: as in the prelude, then pub/sub channel, kind, payload, how long the change is remembered
--       (ms), the fragment
-- Returns: epoch, id
local epoch, id, ms, lag = take_id()
local event, change = read_tip(redis.call("GET", KEYS[5]), epoch)
if change ~= "" and redis.call("EXISTS", KEYS[4]) == 0 then
  -- Evicted: up to here changes are unknown.
  redis.call("HSET", KEYS[4], "", epoch .. "|" .. change)
end
redis.call("HSET", KEYS[4], ARGV[9], epoch .. "|" .. id)
-- While a clock that was set back lags, positions do not age, so what they are owed must stay.
local ttl = tonumber(ARGV[8]) + 10000 + lag
redis.call("PEXPIRE", KEYS[4], ttl)
redis.call("SET", KEYS[5], epoch .. "|" .. event .. "|" .. id, "PX", ttl)
redis.call("PUBLISH", ARGV[5], "1|" .. epoch .. "|" .. ARGV[6] .. "|" .. id .. "|" .. ARGV[7])
return {epoch, id}
