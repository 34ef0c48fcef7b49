-- Give a message its id, keep it if it is an event that is kept, and publish it.
-- KEYS: last, epoch, events, tip, replid
-- ARGV: clock offset (ms), a name for a new epoch, pub/sub channel, kind, payload,
--       how many events are kept (0: none), their lifetime (ms), the server's replication id
-- Returns: epoch, id
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[1])
local last, epoch = redis.call("GET", KEYS[1]), redis.call("GET", KEYS[2])
if not last or not epoch then
  last, epoch = "0-0", ARGV[2]
  redis.call("SET", KEYS[2], epoch)
  redis.call("SET", KEYS[5], ARGV[8])
end
local ms, n = last:match("(%d+)-(%d+)")
ms, n = tonumber(ms), tonumber(n)
if now > ms then ms, n = now, 0 else n = n + 1 end
-- While a clock that was set back lags, positions do not age, so what they are owed must stay.
local lag = ms - now
local id = string.format("%.0f-%.0f", ms, n)
redis.call("SET", KEYS[1], id)
local keep, ttl = tonumber(ARGV[6]), tonumber(ARGV[7])
if keep > 0 then
  -- Of what was before a topic's first known event only this is certain: it expired.
  local before = string.format("%.0f-0", math.max(ms - ttl, 0))
  local tip = redis.call("GET", KEYS[4])
  if not tip then
    -- Evicted by itself: the stream still knows its last event.
    local newest = redis.call("XREVRANGE", KEYS[3], "+", "-", "COUNT", 1)[1]
    if newest then before = newest[1] end
  elseif tip:sub(1, #epoch + 1) == epoch .. "|" then
    before = tip:sub(#epoch + 2)
  end
  local entry = {"MAXLEN", keep, id, "b", before, "m", epoch .. "|" .. ARGV[5]}
  -- Ids of another epoch may be higher, if the clock was set back and the last id is lost.
  if type(redis.pcall("XADD", KEYS[3], unpack(entry))) == "table" then
    redis.call("DEL", KEYS[3])
    redis.call("XADD", KEYS[3], unpack(entry))
  end
  redis.call("PEXPIRE", KEYS[3], ttl + 10000 + lag)
  redis.call("SET", KEYS[4], epoch .. "|" .. id, "PX", ttl + 10000 + lag)
end
redis.call("PUBLISH", ARGV[3], "1|" .. epoch .. "|" .. ARGV[4] .. "|" .. id .. "|" .. ARGV[5])
return {epoch, id}
