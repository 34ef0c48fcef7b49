-- Return some of those who are present on a topic.
-- KEYS: expiries (sorted set), members (hash)
-- ARGV: where to go on ("0": at the beginning), how many to read at once
-- Returns: where to go on ("": that was all), then member, who, member, who ...
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local page = redis.call("HSCAN", KEYS[2], ARGV[1], "COUNT", ARGV[2])
local found, members, here = page[2], {}, {}
for i = 1, #found, 2 do members[#members + 1] = found[i] end
if #members > 0 then
  for i, expiry in ipairs(redis.call("ZMSCORE", KEYS[1], unpack(members))) do
    if expiry and tonumber(expiry) > now then
      here[#here + 1], here[#here + 2] = members[i], found[2 * i]
    end
  end
end
return {page[1] == "0" and "" or page[1], here}
