-- Give a message its id, keep it if it is one that is kept, and publish it; then the refreshes that
-- it causes.
-- KEYS: as in the prelude, then events, tip; then fragments, tip of each refresh
-- ARGV: as in the prelude, then pub/sub channel, kind, payload, how many are kept (0: none), their
--       lifetime (ms); then those of change.lua, of each refresh
-- Returns: epoch, id; then the id of each refresh
local epoch, id, ms, lag = take_id()
local keep, ttl = tonumber(ARGV[8]), tonumber(ARGV[9])
if keep > 0 then
  local before, change = read_tip(redis.call("GET", KEYS[5]), epoch)
  if before == "" then
    -- Of what was before a topic's first known event only this is certain: it expired. But if the
    -- tip alone was evicted, the stream still knows its last event.
    local newest = redis.call("XREVRANGE", KEYS[4], "+", "-", "COUNT", 1)[1]
    before = newest and newest[1] or string.format("%.0f-0", math.max(ms - ttl, 0))
  end
  -- At most eight go at once, also of a topic of which more were kept, for they may be large.
  local most = math.max(keep, redis.call("XLEN", KEYS[4]) - 7)
  local entry = {"MAXLEN", most, id, "b", before, "m", epoch .. "|" .. ARGV[7]}
  -- Ids of another epoch may be higher, if the clock was set back and the last id is lost.
  if type(redis.pcall("XADD", KEYS[4], unpack(entry))) == "table" then
    redis.call("UNLINK", KEYS[4])
    redis.call("XADD", KEYS[4], unpack(entry))
  end
  -- While a clock that was set back lags, positions do not age, so what they are owed must stay.
  redis.call("PEXPIRE", KEYS[4], ttl + 10000 + lag)
  redis.call("SET", KEYS[5], epoch .. "|" .. id .. "|" .. change, "PX", ttl + 10000 + lag)
end
redis.call("PUBLISH", ARGV[5], "1|" .. epoch .. "|" .. ARGV[6] .. "|" .. id .. "|" .. ARGV[7])
local answer = {epoch, id}
for n = 0, (#ARGV - 9) / 6 - 1 do
  local _, of = change(KEYS[6 + 2 * n], KEYS[7 + 2 * n], unpack(ARGV, 10 + 6 * n, 15 + 6 * n))
  answer[#answer + 1] = of
end
return answer
