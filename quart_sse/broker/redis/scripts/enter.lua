-- Say who is present on a topic, or has left it.
-- KEYS: expiries (sorted set), members (hash)
-- ARGV: lifetime of an entry (ms), how many enter, then of each the member and who it is,
--       then the members that leave
-- Returns: how many entries had expired
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lifetime, entering = tonumber(ARGV[1]), tonumber(ARGV[2])
local expiries, leaving = {}, 3 + 2 * entering
for i = 3, leaving - 1, 2 do
  expiries[#expiries + 1] = now + lifetime
  expiries[#expiries + 1] = ARGV[i]
end
if entering > 0 then
  redis.call("ZADD", KEYS[1], unpack(expiries))
  redis.call("HSET", KEYS[2], unpack(ARGV, 3, leaving - 1))
end
if #ARGV >= leaving then
  redis.call("ZREM", KEYS[1], unpack(ARGV, leaving))
  redis.call("HDEL", KEYS[2], unpack(ARGV, leaving))
end
-- Those that were killed are forgotten also where no call asks who is present.
local expired = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", now, "LIMIT", 0, 100)
if #expired > 0 then
  redis.call("ZREM", KEYS[1], unpack(expired))
  redis.call("HDEL", KEYS[2], unpack(expired))
end
redis.call("PEXPIRE", KEYS[1], lifetime)
redis.call("PEXPIRE", KEYS[2], lifetime)
return #expired
