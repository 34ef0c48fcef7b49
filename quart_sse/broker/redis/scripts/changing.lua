-- Note the change of an item of a list: "epoch|base|item:id,item:id", the oldest first. Who was current
-- before the base needs the whole list.
local function note_item(fragments, name, item, epoch, id)
  local of, base, list = (redis.call("HGET", fragments, name .. "/") or ""):match("^([^|]*)|([^|]*)|(.*)$")
  if of ~= epoch then
    of, base = (redis.call("HGET", fragments, name) or ""):match("^([^|]*)|([^|]*)")
    if of ~= epoch then base = "0-0" end
    list = ""
  end
  local items = {}
  for entry in list:gmatch("[^,]+") do
    if entry:sub(1, #item + 1) ~= item .. ":" then items[#items + 1] = entry end
  end
  items[#items + 1] = item .. ":" .. id
  while #items > 64 do base = table.remove(items, 1):match(":(.*)$") end
  redis.call("HSET", fragments, name .. "/", epoch .. "|" .. base .. "|" .. table.concat(items, ","))
end

-- Give the change of a fragment its id, note it as the fragment's last, and publish it. The item is ""
-- for a change of the whole fragment.
-- Returns: epoch, id
local function change(fragments, tip, channel, kind, payload, ttl, name, item)
  local epoch, id, ms, lag = take_id()
  local event, last = read_tip(redis.call("GET", tip), epoch)
  if last ~= "" and redis.call("EXISTS", fragments) == 0 then
    -- Evicted: up to here changes are unknown.
    redis.call("HSET", fragments, "", epoch .. "|" .. last)
  end
  if item ~= "" then
    note_item(fragments, name, item, epoch, id)
  else
    redis.call("HDEL", fragments, name .. "/")
  end
  redis.call("HSET", fragments, name, epoch .. "|" .. id)
  -- While a clock that was set back lags, positions do not age, so what they are owed must stay.
  ttl = tonumber(ttl) + 10000 + lag
  redis.call("PEXPIRE", fragments, ttl)
  redis.call("SET", tip, epoch .. "|" .. event .. "|" .. id, "PX", ttl)
  redis.call("PUBLISH", channel, "1|" .. epoch .. "|" .. kind .. "|" .. id .. "|" .. payload)
  return epoch, id
end
