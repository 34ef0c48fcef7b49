-- Give the change of a fragment its id, note it as the fragment's last, and publish it.
-- KEYS: last, epoch, fragments, replid
-- ARGV: clock offset (ms), a name for a new epoch, pub/sub channel, kind, payload,
--       how long the change is remembered (ms), the fragment, the server's replication id
-- Returns: epoch, id
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[1])
local last, epoch = redis.call("GET", KEYS[1]), redis.call("GET", KEYS[2])
if not last or not epoch then
  last, epoch = "0-0", ARGV[2]
  redis.call("SET", KEYS[2], epoch)
  redis.call("SET", KEYS[4], ARGV[8])
end
local ms, n = last:match("(%d+)-(%d+)")
ms, n = tonumber(ms), tonumber(n)
if now > ms then ms, n = now, 0 else n = n + 1 end
-- While a clock that was set back lags, positions do not age, so what they are owed must stay.
local lag = ms - now
local id = string.format("%.0f-%.0f", ms, n)
redis.call("SET", KEYS[1], id)
redis.call("HSET", KEYS[3], ARGV[7], epoch .. "|" .. id)
redis.call("PEXPIRE", KEYS[3], tonumber(ARGV[6]) + 10000 + lag)
redis.call("PUBLISH", ARGV[3], "1|" .. epoch .. "|" .. ARGV[4] .. "|" .. id .. "|" .. ARGV[5])
return {epoch, id}
