// The code under test: an executor that squares numbers.
import { Client, Refused } from "./colonies.js";

/** Take one process and close it: again if the connection is lost, and not if the server says no. */
export async function squareOne(client: Client): Promise<void> {
  const process = await client.assign("dev", 10);
  const n = Number(process.spec.args[0]);
  for (let left = 3; ; left--) {
    try {
      return await client.close(process.processid, [n * n]);
    } catch (error) {
      if (error instanceof Refused) return; // it is closed already, or somebody else's
      if (left === 0) throw error;
    }
  }
}
