-- Say who is present on a topic, or has left it, and return who is.
-- KEYS: expiries (sorted set), members (hash)
-- ARGV: lifetime of an entry (ms), how many enter, then of each the member and who it is,
--       then the members that leave
-- Returns: member, who, member, who ...; if any enter or leave, the number of entries
--          that have expired
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lifetime, entering = tonumber(ARGV[1]), tonumber(ARGV[2])
for i = 1, entering do
  redis.call("ZADD", KEYS[1], now + lifetime, ARGV[1 + 2 * i])
  redis.call("HSET", KEYS[2], ARGV[1 + 2 * i], ARGV[2 + 2 * i])
end
for i = 3 + 2 * entering, #ARGV do
  redis.call("ZREM", KEYS[1], ARGV[i])
  redis.call("HDEL", KEYS[2], ARGV[i])
end
local expired = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", now)
for _, member in ipairs(expired) do
  redis.call("ZREM", KEYS[1], member)
  redis.call("HDEL", KEYS[2], member)
end
redis.call("PEXPIRE", KEYS[1], lifetime)
redis.call("PEXPIRE", KEYS[2], lifetime)
return #ARGV > 2 and #expired or redis.call("HGETALL", KEYS[2])
