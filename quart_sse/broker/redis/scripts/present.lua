-- Return some of those who are present on a topic, and forget some of those who have expired.
-- KEYS: expiries (sorted set), members (hash)
-- ARGV: where to go on ("0": at the beginning), how many to read or forget at once
-- Returns: where to go on ("": that was all), then member, who, member, who ...
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local expired = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", now, "LIMIT", 0, ARGV[2])
if #expired > 0 then
  redis.call("ZREM", KEYS[1], unpack(expired))
  redis.call("HDEL", KEYS[2], unpack(expired))
  -- The others may have expired as well.
  if #expired == tonumber(ARGV[2]) then return {ARGV[1], {}} end
end
local page = redis.call("HSCAN", KEYS[2], ARGV[1], "COUNT", ARGV[2])
return {page[1] == "0" and "" or page[1], page[2]}
