-- Take a snapshot of topics: what was published after a position, the last event, the changes. A
-- call that would take too long answers for the first topics only, or for a part of the last one.
-- KEYS: as in the prelude, then events, tip and fragments of each topic
-- ARGV: as in the prelude, then how many events (0: tell only whether there are any), bytes of them
--       and fragments at most, then for each topic the position's epoch and id ("": no events are
--       wanted)
-- Returns: epoch, id of the snapshot, then for each topic {events, last event, last change, changes,
--       "", "more" if there may be later events, "cut" if there are events that were not read}
local epoch, id = take_id()
local events_left, bytes_left = tonumber(ARGV[5]), tonumber(ARGV[6])
local most_fragments = tonumber(ARGV[7])
local is_told, fragments_left = events_left == 0, most_fragments

-- Whether an id may be after another one: also if it cannot be read.
local function may_be_after(one, other)
  if one == other then return false end
  local ms, n = one:match("^(%d+)-(%d+)$")
  local other_ms, other_n = other:match("^(%d+)-(%d+)$")
  if not ms or not other_ms then return true end
  ms, other_ms = tonumber(ms), tonumber(other_ms)
  return ms > other_ms or (ms == other_ms and tonumber(n) > tonumber(other_n))
end

-- The size of an entry, and the id before it if it is of this epoch.
local function look_at(entry)
  local size, before, is_ours = 0, "", false
  for i = 1, #entry[2], 2 do
    local value = entry[2][i + 1]
    size = size + #value
    if entry[2][i] == "b" then before = value end
    if entry[2][i] == "m" then is_ours = value:sub(1, #epoch + 1) == epoch .. "|" end
  end
  return size, is_ours and before or ""
end

-- One event at a time, because nothing tells the size of the next one.
local function read(key, from)
  local found = {}
  while events_left > 0 and bytes_left > 0 do
    local entry = redis.call("XRANGE", key, "(" .. from, "+", "COUNT", 1)[1]
    if not entry then return found, "" end
    local size, before = look_at(entry)
    events_left, bytes_left = events_left - 1, bytes_left - size
    -- If the one before it is gone, the topic's events are lost, and no other is of use.
    local is_lost = #found == 0 and before ~= "" and may_be_after(before, from)
    found[#found + 1], from = entry, entry[1]
    if is_lost then return found, "" end
  end
  return found, "more"
end

local answer = {epoch, id}
for i = 1, (#KEYS - 3) / 3 do
  local at, from, events, state, changes = 1 + 3 * i, ARGV[7 + 2 * i], {}, "", {}
  local event, change = read_tip(redis.call("GET", KEYS[at + 1]), epoch)
  local is_missed = ARGV[6 + 2 * i] == epoch and from ~= ""
    and (event == "" or may_be_after(event, from))
  local is_read, changed = is_missed and not is_told, redis.call("HLEN", KEYS[at + 2])
  local is_spent = is_read and (events_left <= 0 or bytes_left <= 0)
  if i > 1 and (is_spent or changed > fragments_left) then break end
  if changed > most_fragments then
    -- As after an eviction: up to here changes are unknown.
    changes = {"", epoch .. "|" .. (change ~= "" and change or id)}
  elseif changed > 0 then
    changes = redis.call("HGETALL", KEYS[at + 2])
    fragments_left = fragments_left - changed
  end
  if is_read then
    events, state = read(KEYS[at], from)
  elseif is_missed and (event ~= "" or redis.call("EXISTS", KEYS[at]) == 1) then
    state = "cut"
  end
  answer[2 + i] = {events, event, change, changes, state}
end
return answer
