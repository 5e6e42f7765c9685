
// A page that `pipeline report --watch` serves asks for its version, and loads itself anew.
const live = document.getElementById("live");
async function renew() {
  if (document.hidden) return;
  try {
    const answer = await fetch("version", { cache: "no-store" });
    const version = await answer.text();
    if (answer.ok && version !== live.dataset.version) location.reload();
    live.classList.remove("gone");
  } catch {
    live.classList.add("gone"); // the command has ended, or the connection
  }
}
setInterval(renew, 3000);
document.addEventListener("visibilitychange", renew);
