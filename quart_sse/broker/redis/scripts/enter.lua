-- Say who is present on a topic, or has left it.
-- KEYS: expiries (sorted set), members (hash), people (hash: name of a person -> number of members;
--       "": number of members that show presence)
-- ARGV: lifetime of an entry (ms), how many enter, then of each the member and who it is,
--       then the members that leave
-- Returns: how many entries had expired, whether a member shows presence, the members by which
--          people have joined, who the members were by which people have left
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lifetime, entering = tonumber(ARGV[1]), tonumber(ARGV[2])
local leaving, joined, left = 3 + 2 * entering, {}, {}

-- The text is that of broker/who.py.
local function read(who)
  local shows = who:sub(1, 1) == "!"
  local rest = shows and who:sub(2) or who
  local name = rest:match("^{[^%z]*%z(.*)$") or rest
  return shows, name:sub(1, 1) == "+" and name
end

local function count(field, by)
  local number = redis.call("HINCRBY", KEYS[3], field, by)
  if number <= 0 then redis.call("HDEL", KEYS[3], field) end
  return number
end

local function forget(who)
  local shows, name = read(who)
  if shows then count("", -1) end
  if name and count(name, -1) <= 0 then left[#left + 1] = who end
end

local function forget_all(members)
  if #members == 0 then return end
  local known = redis.call("HMGET", KEYS[2], unpack(members))
  redis.call("ZREM", KEYS[1], unpack(members))
  redis.call("HDEL", KEYS[2], unpack(members))
  for _, who in ipairs(known) do
    if who then forget(who) end
  end
end

local function slice(first, last, step)
  local texts = {}
  for i = first, last, step do texts[#texts + 1] = ARGV[i] end
  return texts
end

if entering > 0 then
  local members, expiries = slice(3, leaving - 1, 2), {}
  local before = redis.call("HMGET", KEYS[2], unpack(members))
  for i, member in ipairs(members) do
    local who, old = ARGV[2 + 2 * i], before[i]
    expiries[2 * i - 1], expiries[2 * i] = now + lifetime, member
    if who ~= old then
      local shows, name = read(who)
      if shows then count("", 1) end
      if name and count(name, 1) == 1 then joined[#joined + 1] = member end
      if old then forget(old) end
    end
  end
  redis.call("ZADD", KEYS[1], unpack(expiries))
  redis.call("HSET", KEYS[2], unpack(ARGV, 3, leaving - 1))
end
forget_all(slice(leaving, #ARGV, 1))
-- Those that were killed are forgotten here alone, so that a process hears who has left.
local expired = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", now, "LIMIT", 0, 100)
forget_all(expired)
for _, key in ipairs(KEYS) do redis.call("PEXPIRE", key, lifetime) end
return {#expired, redis.call("HEXISTS", KEYS[3], ""), joined, left}
